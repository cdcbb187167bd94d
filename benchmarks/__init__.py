"""Benchmarks; a package of its own, because opacus installs one of this name, too."""
