"""The base of all rooms: devices, random streams, processes, artefact cache, downloads, plugins, errors."""
