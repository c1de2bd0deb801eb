// A device on MQTT.js: connects with a token, publishes once, disconnects.
//
//   node mqttjs.js PORT VERSION CLIENT_ID TOKEN_FILE TOPIC
//
// Prints one word, and a code when there is one: "published", "refused 135", "publish 135".
"use strict"

const fs = require("fs")
const mqtt = require("mqtt")

const [port, version, clientId, tokenFile, topic] = process.argv.slice(2)
const client = mqtt.connect({
  host: "127.0.0.1",
  port: Number(port),
  protocolVersion: Number(version),
  clientId,
  username: "",
  password: fs.readFileSync(tokenFile, "utf8"),
  reconnectPeriod: 0,
  connectTimeout: 10000,
})

function end(text, code) {
  console.log(text)
  client.end(true, () => process.exit(code))
}

client.on("error", (error) => end(`refused ${error.code}`, 1))
client.on("connect", () => {
  client.publish(topic, '{"metrics":{"temperature":21.5}}', { qos: 1 }, (error) => {
    if (error) end(`publish ${error.code}`, 1)
    else client.end(false, () => end("published", 0))
  })
})
