"""Reports a host can show or mail as they are: charts without script and pages without links out.

Everything here is a pure function of what it is given. Text is escaped where it
enters the markup, so a customer named ``<script>`` is shown, never run.
"""
