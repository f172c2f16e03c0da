//! Reads job files and turns them into build definitions.
