// Another mail server (smtp-server), with the same settings and events as server.py.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { SMTPServer } = createRequire(process.cwd() + "/")("smtp-server");
const settings = JSON.parse(process.argv.at(-1));
const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const hasLogin = settings.password !== undefined;

const server = new SMTPServer({
  secure: settings.encryption === "tls",
  key: readFileSync(settings.key),
  cert: readFileSync(settings.certificate),
  authOptional: !hasLogin,
  disabledCommands: hasLogin ? [] : ["AUTH"],
  onConnect: (session, done) => { tell({ event: "connection" }); done(); },
  onAuth: ({ username, password }, session, done) => {
    tell({ event: "login", name: username, password });
    const isRight = username === "resetd" && password === settings.password;
    done(isRight ? null : new Error("wrong name or password"), { user: username });
  },
  onMailFrom: ({ address }, session, done) => {
    tell({ event: "sender", address, tls: session.secure });
    done();
  },
  onData: (stream, session, done) => {
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("end", () => {
      const { mailFrom, rcptTo } = session.envelope;
      tell({
        event: "mail", sender: mailFrom.address, recipients: rcptTo.map(({ address }) => address),
        content: Buffer.concat(chunks).toString("base64"),
      });
      done(null, "queued");
    });
  },
});
server.on("error", () => {});
server.listen(0, "127.0.0.1", () => tell({ event: "port", port: server.server.address().port }));
