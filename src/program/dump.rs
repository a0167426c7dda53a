//! Prints a program, one line a state and one a detail.
