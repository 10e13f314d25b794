//! The testbed: real services, faults and a checker. See ARCHITECTURE.md.
