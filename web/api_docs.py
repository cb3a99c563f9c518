"""The API's own page at /openapi: Swagger UI out of the installed package, allowed by our content security policy."""

from __future__ import annotations

# Addresses are relative to /openapi/. `validatorUrl` null: nothing is sent to anybody.
DOCS_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ product_name }} API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="swagger/css/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger/js/swagger-ui-bundle.js"></script>
<script nonce="{{ csp_nonce }}">
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null })
</script>
</body>
</html>
"""

DOCS_CONFIG = {"OPENAPI_HTML_STRING": DOCS_PAGE, "SWAGGER_HTML_STRING": DOCS_PAGE}
