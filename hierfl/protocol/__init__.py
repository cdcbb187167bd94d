"""What cloud, edges and devices say to each other, and how a replica is kept."""
