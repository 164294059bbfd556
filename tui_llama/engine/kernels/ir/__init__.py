"""Vector building blocks, written as LLVM's intermediate representation."""
