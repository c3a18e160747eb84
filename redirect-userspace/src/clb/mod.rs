//! Cluster load balancing.
