"""A load test: a real federation, but for what devices learn; they answer prepared votes."""
