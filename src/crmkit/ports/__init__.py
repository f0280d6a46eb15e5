"""The sockets: what the features need from the outside, and what plugs must offer."""
