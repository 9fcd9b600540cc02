//! Every saved search runs, and the important ones answer what a hand computes.
