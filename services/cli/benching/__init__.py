"""The measurements behind `ringback bench`."""
