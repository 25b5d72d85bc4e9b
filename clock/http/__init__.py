"""The service over HTTP: the application, the lean lane, paths and pages."""
