"""Methods: torch and xarray in, a Result out. One file a method; models are run only through `models`."""
