"""The link: Flower messages over one long-lived stream per child, or within one process."""

from hierfl.link.version import check_flower

check_flower()
