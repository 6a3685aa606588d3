/** The API documentation: Swagger UI, served by this server. */

import { fill, h } from "../dom.js";
import { start } from "../shell.js";

start("API", async (main) => {
  const place = h("div", { id: "swagger" });
  fill(main, h("h1", {}, "HTTP API"), place);
  await Promise.all([
    arrived(h("link", { rel: "stylesheet", href: "/assets/swagger/swagger-ui.css" })),
    arrived(h("script", { src: "/assets/swagger/swagger-ui-bundle.js" })),
  ]);
  window.SwaggerUIBundle({
    domNode: place,
    url: "/openapi.json",
    deepLinking: true,
    filter: true,
    // Its badge would be fetched from another host.
    validatorUrl: null,
    persistAuthorization: true,
  });
});

function arrived(element) {
  return new Promise((resolve, reject) => {
    element.addEventListener("load", resolve);
    element.addEventListener("error", () => reject(new Error("the documentation's script could not be loaded")));
    document.head.append(element);
  });
}
