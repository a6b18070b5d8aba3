"""The words everyone uses: units, number formats and errors."""
