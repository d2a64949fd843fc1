// A client of ORCS that has nothing but the .proto files: node client.js PROTOS ADDRESS
// It creates a workflow from a plan, watches it, breaks the connection off, resumes after its last cursor on a new one, and
// reads the output. The token comes in ORCS_TOKEN. It prints one JSON object with what it saw.
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [protos, address] = process.argv.slice(2);
const files = ["workflow_service", "agent_service"].map((name) => path.join("orcs", "v1", `${name}.proto`));
const definition = loader.loadSync(files, {
  includeDirs: [protos],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { orcs } = grpc.loadPackageDefinition(definition);
const credentials = grpc.credentials.createInsecure();

function bearer(token) {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

function call(client, method, request, token = process.env.ORCS_TOKEN) {
  const deadline = Date.now() + 30000;
  return new Promise((resolve, reject) => {
    client[method](request, bearer(token), { deadline }, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

// Reads until `enough(reply)`, then cancels; resolves with all replies and with the status that ended the stream.
function watch(client, request, enough = () => false) {
  return new Promise((resolve) => {
    const replies = [];
    const stream = client.WatchWorkflow(request, bearer(process.env.ORCS_TOKEN));
    stream.on("data", (reply) => {
      replies.push(reply);
      if (enough(reply)) stream.cancel();
    });
    stream.on("error", () => {}); // the status says it, too
    stream.on("status", (status) => resolve({ replies, code: status.code }));
  });
}

const numbers = (replies) => replies.flatMap((reply) => reply.events.map((event) => Number(event.sequence)));

async function main() {
  const agents = new orcs.v1.AgentService(address, credentials);
  const agentIds = (await call(agents, "ListAgents", {})).agents.map((agent) => agent.id);
  agents.close();

  const first = new orcs.v1.WorkflowService(address, credentials);
  const refused = await call(first, "GetWorkflow", { workflow_id: "x" }, "wrong").catch((error) => error);
  const created = await call(first, "CreateWorkflow", {
    request_id: "polyglot-1",
    title: "From another language",
    auto_start: false,
    plan: {
      tasks: [
        { id: "left", title: "Left", description: "Look into the left side.", agent_id: agentIds[0] },
        { id: "right", title: "Right", description: "Look into the right side.", agent_id: agentIds[0] },
        { id: "join", title: "Join", description: "Join both sides.", agent_id: agentIds[0], dependencies: ["left", "right"] },
      ],
    },
  });
  const workflow_id = created.workflow.id;
  const cut = await watch(first, { workflow_id }, (reply) => reply.events.length > 0);
  first.close();

  const second = new orcs.v1.WorkflowService(address, credentials);
  await call(second, "StartWorkflow", { request_id: "polyglot-2", workflow_id });
  const after_cursor = cut.replies.at(-1).cursor;
  const resumed = await watch(second, { workflow_id, after_cursor });
  const output = await call(second, "GetWorkflowOutput", { workflow_id, format: "OUTPUT_FORMAT_MARKDOWN" });
  second.close();

  console.log(
    JSON.stringify({
      refused: refused.code,
      before: numbers(cut.replies),
      cut: cut.code,
      after: numbers(resumed.replies),
      bodies: resumed.replies.flatMap((reply) => reply.events.map((event) => event.body)),
      end: resumed.replies.at(-1).end,
      ended: resumed.code,
      output: output.content.text,
      complete: output.complete,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
