// Command check reads Kubernetes manifests, YAML documents, from standard input, and does with each what the API server
// does with what it is to create: it decodes it strictly, compares it with the published OpenAPI schema, fills in the
// defaults, and validates it, all by the server's own code. It is a module of its own: that code is large.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podapi "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	batchvalidation "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run checks all documents, and says which were right.
func run(r io.Reader, w io.Writer) error {
	schemas, err := readSchemas()
	if err != nil {
		return err
	}
	converter, err := managedfields.NewTypeConverter(schemas, false)
	if err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDecoder()
	var problems []error
	for documents := yaml.NewYAMLReader(bufio.NewReader(r)); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return errors.Join(problems...)
		}
		if err != nil {
			return err
		}
		name, err := check(text, converter, decoder)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		fmt.Fprintf(w, "%s: ok\n", name)
	}
}

// check is for one document, whose kind and name it returns.
func check(text []byte, converter managedfields.TypeConverter, decoder runtime.Decoder) (name string, err error) {
	data, err := yaml.ToJSON(text)
	if err != nil {
		return "", err
	}
	var document unstructured.Unstructured
	if err := document.UnmarshalJSON(data); err != nil {
		return "", err
	}
	name = document.GetKind() + " " + document.GetName()
	if _, err := converter.ObjectToTyped(&document); err != nil {
		return name, fmt.Errorf("schema: %w", err)
	}
	object, _, err := decoder.Decode(text, nil, nil)
	if err != nil {
		return name, err
	}
	return name, validate(object).ToAggregate()
}

// validate applies the rules of creation to an object with its defaults.
func validate(object runtime.Object) field.ErrorList {
	if metadata, ok := object.(metav1.Object); ok && metadata.GetNamespace() == "" {
		metadata.SetNamespace("default") // that of the request
	}
	switch o := object.(type) {
	case *batch.Job:
		complete(o)
		return batchvalidation.ValidateJob(o, batchvalidation.JobValidationOptions{RequirePrefixedLabels: true,
			PodValidationOptions: podapi.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)})
	case *core.Pod:
		return corevalidation.ValidatePodCreate(o, podapi.GetValidationOptionsFromPodSpecAndMeta(&o.Spec, nil, &o.ObjectMeta, nil))
	case *core.PersistentVolumeClaim:
		return corevalidation.ValidatePersistentVolumeClaim(o, corevalidation.ValidationOptionsForPersistentVolumeClaim(o, nil))
	}
	return field.ErrorList{field.InternalError(nil, fmt.Errorf("no rules are known for a %T", object))}
}

// complete gives a job what the server gives it before it looks at it: an identity, by which its pods are known.
func complete(job *batch.Job) {
	job.UID = "11111111-2222-3333-4444-555555555555"
	if job.Spec.Template.Labels == nil {
		job.Spec.Template.Labels = map[string]string{}
	}
	for label, value := range map[string]string{batch.LegacyJobNameLabel: job.Name, batch.JobNameLabel: job.Name,
		batch.LegacyControllerUidLabel: string(job.UID), batch.ControllerUidLabel: string(job.UID)} {
		job.Spec.Template.Labels[label] = value
	}
	job.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{batch.ControllerUidLabel: string(job.UID)}}
}

// readSchemas reads the OpenAPI schemas that are published with this version's source.
func readSchemas() (map[string]*spec.Schema, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes").Output()
	if err != nil {
		return nil, fmt.Errorf("where is the module k8s.io/kubernetes? %w", err)
	}
	all := map[string]*spec.Schema{}
	for _, name := range []string{"api__v1_openapi.json", "apis__batch__v1_openapi.json"} {
		data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "api", "openapi-spec", "v3", name))
		if err != nil {
			return nil, err
		}
		var document spec3.OpenAPI
		if err := json.Unmarshal(data, &document); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for key, schema := range document.Components.Schemas {
			all[key] = schema
		}
	}
	return all, nil
}
