//! A synthetic lumbar spine with exact truth.
