"""Where one machine ends: pictures answered on a Ray cluster. Importing this imports no Ray (extra ``ray``)."""
