"""What every request and answer passes: context, checks, errors, schemas."""
