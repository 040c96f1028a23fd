// Answers once whether the network works here as it did where it was proven, then reads digits from the serial port:
// send 784 bytes, 28 rows of 28 pixels, bright ink on a dark ground.
#include <$name.h>

static uint32_t workspace[(${macro}_WORKSPACE_BYTES + 3) / 4];
static uint8_t pixels[784];

void setup() {
  Serial.begin(115200);
  while (!Serial) {
  }
  Serial.println(${name}_self_test(workspace) == 0 ? "self-test passed" : "self-test FAILED");
}

void loop() {
  if (Serial.readBytes((char *)pixels, sizeof(pixels)) == sizeof(pixels)) {
    Serial.println(${name}_predict(pixels, workspace));
  }
}
