"""The ground floor: errors, files, extras, plug-ins, words. It imports no other room."""
