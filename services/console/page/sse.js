// Reads server-sent events out of a stream of text. Pure.
//
// EventSource hides comments, and the console's `: alive` is one: only who reads the stream
// can tell a quiet cluster from a dead connection.

/** Makes a reader: `feed(text)` answers the events that the text completes. */
export function reader() {
  let rest = "";
  let event = { kind: "message", data: [] };
  return {
    feed(chunk) {
      const events = [];
      const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data.length > 0) events.push({ kind: event.kind, data: event.data.join("\n") });
          event = { kind: "message", data: [] };
        } else if (line.startsWith("event:")) {
          event.kind = line.slice(6).trim();
        } else if (line.startsWith("data:")) {
          event.data.push(line.slice(5).replace(/^ /, ""));
        }
      }
      return events;
    },
  };
}
