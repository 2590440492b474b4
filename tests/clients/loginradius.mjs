// Makes the calls that stand in the input with the vendor's library for Node, and prints what came of each.
// The library knows only host names and the usual port of TLS, so that port is another one here.
import { readFileSync } from "node:fs";
import https from "node:https";

import loginRadius from "loginradius-sdk";

const { port, apiKey, apiSecret, calls } = JSON.parse(readFileSync(0, "utf8"));
https.globalAgent.defaultPort = port;

const outcomes = [];
for (const { settings = {}, call, times = 1 } of calls) {
  const library = loginRadius({ apiDomain: "127.0.0.1", apiKey, apiSecret, ...settings });
  const [api, method, ...parameters] = call;
  const one = () => library[api][method](...parameters).then(
    (answer) => ({ answer }),
    // The library gives out one object again and again.
    (refusal) => ({ refusal: { ...refusal } }),
  );
  outcomes.push(...await Promise.all(Array.from({ length: times }, one)));
}
console.log(JSON.stringify(outcomes));
