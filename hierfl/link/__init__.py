"""The link: Flower messages over one long-lived stream per child, or within one process."""
