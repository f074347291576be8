"""Rise and fall of a server, and the scripts that ask it how it is. Pure: bytes in, bytes out, verdict."""
