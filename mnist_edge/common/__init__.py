"""The ground floor: errors, files, extras, plug-ins, words. It imports nothing of the rest."""
