"""Recordings in over HTTP, emotions out: `mosei-ssl serve`, with the extra `gateway`."""
