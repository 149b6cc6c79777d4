"""The artefact cache, local or shared by machines."""
