"""The only sockets towards Zeek, one transport per file."""
