"""What a config costs on devices that need not be there: `jaxlm plan`."""
