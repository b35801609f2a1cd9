//! Runs packets through the logical flows themselves: slow, and each step can be seen.
