"""What everything else runs on: devices, random streams, processes, the artefact cache, downloads, plugins, errors."""
