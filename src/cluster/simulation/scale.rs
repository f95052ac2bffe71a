//! The time and the traffic of large clusters.
