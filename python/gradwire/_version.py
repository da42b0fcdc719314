"""The version of this package, which is that of gradwire's programs."""

__version__ = "0.1.0"
