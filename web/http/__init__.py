"""What all requests and answers share: context, checks, errors and schemas."""
