/** The API's own documentation, by Swagger UI from this server. */

import { fill, h } from "./dom.js";
import { start } from "./shell.js";

start("API", (main) => {
  const place = h("div", { id: "swagger" });
  fill(main, h("h1", {}, "HTTP API"), place);
  window.SwaggerUIBundle({
    domNode: place,
    url: "/openapi.json",
    deepLinking: true,
    filter: true,
    // Its badge would be fetched from elsewhere.
    validatorUrl: null,
    persistAuthorization: true,
  });
});
