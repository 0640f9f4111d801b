"""The bundled sample, and the script that makes it."""
