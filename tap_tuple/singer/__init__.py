"""Extensions to the Singer SDK. Nothing here is specific to Tuple."""
