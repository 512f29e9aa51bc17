/* Runs an export through TensorFlow's C API, as a server in another language would.
 *
 *   predict SAVED_MODEL FEATURES_TENSOR LENGTH_TENSOR OUTPUT_TENSOR B T WIDTH L < tensors
 *
 * Reads B*T*WIDTH floats and L int32 from standard input, writes the output's floats as text, one
 * a line. Exit code: TensorFlow's status, 0 if all is well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void check(TF_Status* status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s\n", TF_Message(status));
  exit(TF_GetCode(status));
}

static TF_Tensor* read_tensor(TF_DataType type, const int64_t* dims, int rank, size_t count) {
  TF_Tensor* tensor = TF_AllocateTensor(type, dims, rank, count * 4);
  if (fread(TF_TensorData(tensor), 4, count, stdin) != count) {
    fprintf(stderr, "input is cut short\n");
    exit(100);
  }
  return tensor;
}

static TF_Output find(TF_Graph* graph, const char* name) {
  char operation[512];
  snprintf(operation, sizeof operation, "%s", name);
  char* colon = strchr(operation, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  TF_Output found = {TF_GraphOperationByName(graph, operation), index};
  if (!found.oper) {
    fprintf(stderr, "no operation %s\n", operation);
    exit(101);
  }
  return found;
}

int main(int argc, char** argv) {
  if (argc != 9) return 102;
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  const int64_t shape[] = {atoll(argv[5]), atoll(argv[6]), atoll(argv[7])};
  const int64_t lengths[] = {atoll(argv[8])};
  TF_Output inputs[] = {find(graph, argv[2]), find(graph, argv[3])};
  TF_Output outputs[] = {find(graph, argv[4])};
  TF_Tensor* values[] = {
      read_tensor(TF_FLOAT, shape, 3, (size_t)(shape[0] * shape[1] * shape[2])),
      read_tensor(TF_INT32, lengths, 1, (size_t)lengths[0])};
  TF_Tensor* answer[] = {NULL};
  TF_SessionRun(session, NULL, inputs, values, 2, outputs, answer, 1, NULL, 0, NULL, status);
  check(status);

  const float* numbers = TF_TensorData(answer[0]);
  for (size_t i = 0; i < TF_TensorByteSize(answer[0]) / 4; ++i) printf("%.9g\n", numbers[i]);
  return 0;
}
