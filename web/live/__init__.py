"""The live feed over Socket.IO."""
