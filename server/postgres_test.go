package server_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// onPostgres in the environment gives each site a PostgreSQL database.
const onPostgres = "ADMIT_TEST_POSTGRES"

// journeys are the tests of what people and programs do, whatever the database is.
var journeys = []string{
	"TestAPersonSignsUp", "TestAGuestKeeps", "TestChangingThePassword", "TestEndingAllOther", "TestASignUpByEMail", "TestACodeIsGood", "TestEndingTheOwn",
	"TestTheOneNotSeenForLongest", "TestUnknownUserAndWrong", "TestSignUpRefusals",
	"TestAnAppSignsIn", "TestAFamilyMayBegin", "TestAttackAThief", "TestAFamilyEnds", "TestAttackAJWT", "TestAJWTFromBefore", "TestTheNextRefresh", "TestASessionOfJWTs",
	"TestAnAPIKeyActs", "TestEachAPIKey", "TestWhatTakesAnAccountBack", "TestWhoIsNoAdministrator", "TestTheOwnerIsToldOfANewAPIKey",
	"TestADisabledUser", "TestTheLastAdministrator", "TestAttackASearch", "TestUsersAreFiltered", "TestPagesAreStable", "TestAnAdministrator", "TestTheAuditIsSearched",
	"TestAMailedLinkSignsIn", "TestACodeByMailSignsIn", "TestAttackWhoAsks", "TestTheFirstProofByLink",
	"TestAnApproval", "TestAttackAnApproval", "TestARole",
	"TestATableOfAnother", "TestRefusedLines", "TestAnImportThat", "TestAnUpdateBrings", "TestWhatIsExported",
	"TestASecondFactorIsAsked", "TestACodeOfAnApp", "TestOfManyAtOnceOne", "TestWhoKnowsThePassword", "TestRecoveryCodesCount", "TestATrustedDevice", "TestWithTheLastFactor",
	"TestAPasskeyIs", "TestOfManyAnswers", "TestAnotherUsersPasskey", "TestACounterThat", "TestWhoDisowns", "TestThereAreTwenty",
	"TestAForgottenPasswordIsReplacedByTheMailedLink", "TestAttackAPlanted", "TestAttackAThiefRecovers", "TestAttackAStranger", "TestASignUpByPhone", "TestAttackABotnetHas",
}

func TestTheJourneysAreTheSameOnPostgreSQL(t *testing.T) {
	if os.Getenv(onPostgres) != "" {
		t.Skip("it is what runs")
	}
	if testing.Short() {
		t.Skip("with -short")
	}
	postgrestest.Shared(t) // or it is missing
	t.Parallel()           // it is another process, and asks nothing about time
	cmd := exec.Command(os.Args[0], "-test.timeout=10m", "-test.run=^("+strings.Join(journeys, "|")+")")
	cmd.Env = append(os.Environ(), onPostgres+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "no tests to run") {
		t.Errorf("%v\n%s", err, out)
	}
}
