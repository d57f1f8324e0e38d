//! Counters, histograms and access records.
