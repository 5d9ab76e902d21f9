"""What every other package stands on: settings, errors, logging, storage; imports nothing of ours."""
