"""An example of `eventbox.sources`: deposits on a chain become balances of accounts."""
