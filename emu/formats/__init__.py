"""What other tools read: SARIF for findings in a source, KTAP for what was asked and answered.

Made from the JSON that commands write and from the files of their findings, as pages are: so that
it can be made at once, or later by whoever has them.
"""
