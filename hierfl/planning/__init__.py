"""What a configuration means: the algorithm, the codecs, the bytes on each link."""
